"""Tests of the read path: views, gates, news, and the bodies made of them."""
