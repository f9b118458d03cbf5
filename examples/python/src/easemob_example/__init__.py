"""Sends, uploads and reads errors through easemob-gateway."""
