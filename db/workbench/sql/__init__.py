"""What the text of SQL says, without a server: tokens, statements, transaction control."""
