"""Who is left out, who is trained on and who is predicted."""
