"""A trained model as a service: REST, and the page to try it in."""
