"""What people look at: pages, figures and their style. Nothing is decided or computed here."""
