"""The clock's door: threads that tick. Flows do the work; nothing here knows a table or a provider's words."""
