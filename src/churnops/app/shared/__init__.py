"""What several pages use: access, the opened project, samples of customers, text, documents and the figures' theme."""
