"""The exercises, one file each: the whole right solution, with marks that say what is taken out for the student.

Between `# yours:` and `# instead:` stand the lines that are taken out; between `# instead:` and `# end`, commented,
those that take their place. What follows `# --- for the checker` is left out: the hints, and the inputs to check with.
The rest is the student's file as it is, so the two cannot drift apart (scratch/learn/exercise.py).
"""
