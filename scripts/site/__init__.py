"""The documentation as a site: pages of the repository, and a reference generated from the code."""
