"""Other designs for the same job, each as its own documentation recommends."""
