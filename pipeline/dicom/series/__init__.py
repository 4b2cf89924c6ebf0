"""The series of a patient: scanned, chosen, written as an index."""
