"""HLS (RFC 8216 and draft-pantos-hls-rfc8216bis): timeline, CMAF, playlists, packager, origin."""
