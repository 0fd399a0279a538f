"""Code shared by pages: access, the opened project, samples of customers, text, documents and the figures' theme."""
