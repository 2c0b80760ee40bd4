"""The command line: results, talk and exit codes."""
