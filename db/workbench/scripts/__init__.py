"""Scripts: splitting a text into its statements, and executing them one after the other."""
