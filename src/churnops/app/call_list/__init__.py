"""The Call list page: whom to contact, why, and what became of it."""
