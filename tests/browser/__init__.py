"""The pages in a real browser, against `lastseat demo`; collected only when named."""
