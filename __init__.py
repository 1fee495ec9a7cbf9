"""The root of regisseur in a checkout; never packaged."""
