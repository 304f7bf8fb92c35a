"""Two sets of records side by side: which records stand against which, the table, the command."""
