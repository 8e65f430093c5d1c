"""Risk policies and the risk engine component that applies them to every order intent.
May import core only.
"""
