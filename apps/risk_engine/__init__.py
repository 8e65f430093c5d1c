"""The risk engine daemon: intents in, decisions and accepted orders out.

May be imported by other packages of apps only.
"""
