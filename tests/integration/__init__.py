"""Tests against real servers, on the embedded backend and on the production one."""
