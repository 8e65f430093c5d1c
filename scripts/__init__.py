"""What developers and operators run by hand or from make; nothing in the fleet imports it."""
