"""The multivariant playlists of a channel, from its folders: ``index.m3u8`` for CMAF, ``ts.m3u8`` for transport
streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from headend.accessunit import StreamFormat
from packagers.hls.bandwidth import Bandwidth
from packagers.hls.playlist import Group, Sound, Variant, groups, multivariant
from packagers.hls.track import Container, Folder

NAMES: Final[dict[Container, str]] = {"cmaf": "index.m3u8", "ts": "ts.m3u8"}


def indexes(
    folders: Sequence[Folder],
    formats: Mapping[str, StreamFormat],
    codecs: Mapping[str, str],
    bandwidth: Mapping[str, Bandwidth],
) -> dict[str, str]:
    """Texts by file name. ``formats`` and ``codecs`` (RFC 6381) are by input, ``bandwidth`` by folder."""
    texts = {}
    for container, name in NAMES.items():
        chosen = [folder for folder in folders if folder.container == container]
        if chosen:
            texts[name] = _Index(formats, codecs, bandwidth).text(chosen)
    return texts


class _Index:
    def __init__(
        self,
        formats: Mapping[str, StreamFormat],
        codecs: Mapping[str, str],
        bandwidth: Mapping[str, Bandwidth],
    ) -> None:
        self._formats, self._codecs, self._bandwidth = formats, codecs, bandwidth

    def text(self, chosen: Sequence[Folder]) -> str:
        videos = [folder for folder in chosen if self._formats[folder.sources[0]].kind == "video"]
        sounds = [self._sound(folder) for folder in chosen if folder not in videos]
        if not videos:
            return self._radio(groups(sounds))
        inside = next((folder for folder in videos if len(folder.sources) > 1), None)
        if inside is not None and sounds:
            # The sound inside the variants is one of the choices: the one without a URI (4.4.6.1). Its bit rate is
            # theirs.
            sounds.insert(0, replace(self._sound(inside), uri=None, peak=0, average=0))
        return multivariant([self._variant(folder) for folder in videos], groups(sounds))

    def _radio(self, choices: Sequence[Group]) -> str:
        """A channel without pictures: a variant for each group, being its first sound."""
        variants = [
            Variant(
                group.sounds[0].uri or "",
                group.sounds[0].codec,
                max(sound.peak for sound in group.sounds),
                max(sound.average for sound in group.sounds),
            )
            for group in choices
        ]
        if len(choices) == 1 and len(choices[0].sounds) > 1:
            # A player fetches one of them, so none adds to the variant.
            silent = tuple(replace(sound, peak=0, average=0) for sound in choices[0].sounds)
            return multivariant(variants, [replace(choices[0], sounds=silent)])
        return multivariant(variants)

    def _variant(self, folder: Folder) -> Variant:
        fmt, meter = self._formats[folder.sources[0]], self._bandwidth[folder.name]
        return Variant(
            f"{folder.name}/index.m3u8",
            ",".join(dict.fromkeys(self._codecs[source] for source in folder.sources)),
            meter.peak,
            meter.average,
            fmt.width,
            fmt.height,
            fmt.sar,
            fmt.rate,
            fmt.video_range,
        )

    def _sound(self, folder: Folder) -> Sound:
        source = folder.sources[-1]
        fmt, meter = self._formats[source], self._bandwidth[folder.name]
        return Sound(
            f"{folder.name}/index.m3u8",
            self._codecs[source],
            fmt.language,
            fmt.name,
            fmt.channels,
            meter.peak,
            meter.average,
        )
