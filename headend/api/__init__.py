"""The API worker: status page, JSON API, events and metrics. Its death costs the signal nothing."""

from headend.api.app import create_app
from headend.api.desk import Bus, ChannelView, ConfigView, Desk
from headend.api.service import run
from headend.api.token import Token, obtain

__all__ = ["Bus", "ChannelView", "ConfigView", "Desk", "Token", "create_app", "obtain", "run"]
