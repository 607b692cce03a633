"""What the sites' power will be: traces, sun, windows, and the clock that lets a trace run faster than life."""
