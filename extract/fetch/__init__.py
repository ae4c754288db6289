"""Getting the data sets of the field: what there is, what is there already, and loading the rest."""
