"""A mixed load for who sizes a mesh of their own, with a report and plots."""
