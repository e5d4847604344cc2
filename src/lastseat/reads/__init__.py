"""The read path: process, Redis, Supabase; never HubSpot."""
