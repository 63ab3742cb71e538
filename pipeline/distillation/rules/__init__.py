"""From scored lists to training sets: teachers, positives, mining, splits, decontamination."""
