"""What a packager must know about coded pictures and sound: parameter sets, decoder configurations, codec strings.

One module per codec, named as the codec. Parsers take bytes from anywhere and raise nothing but ValueError.
"""

from packagers.codec.name import codec_string

__all__ = ["codec_string"]
