"""The commands that developers and operators run by hand or from make. Nothing in the fleet imports them."""
