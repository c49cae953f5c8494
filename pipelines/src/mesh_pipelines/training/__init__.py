"""What trainings of text models share; it needs the libraries of the extra `training`."""
