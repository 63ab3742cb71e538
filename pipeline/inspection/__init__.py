"""What an input is, gathered as plain data before anything is paid for; nothing is written."""
