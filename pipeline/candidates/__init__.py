"""What a candidate list is: columns, layouts, and the cut of an input into units."""
