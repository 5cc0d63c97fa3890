"""A reader of snapshot files made from docs/FORMAT.md alone."""
import struct

MAGIC = b"\x89MTRC\r\n\x1a"
INFO = ("capacity live high_water longest_probe max_sites sites dropped_count dropped_bytes foreign_frees stale_replaced "
        "lost_sites lost_names lost_scopes max_scopes scopes tracer_memory frames "
        "sample_interval").split()
NONE = 0xFFFFFFFF


class Row:
    def __init__(self, frames, fields, counters, name):
        self.frames = frames  # (file, function, line), the oldest first
        self.total, self.type, self.domain_name, self.domain = fields[1], name(fields[2]), name(fields[3]), fields[4]
        self.size, self.count = counters[:2]
        self.peak, self.ever = counters[2:4], counters[4:6]
        self.estimated = counters[10]  # version 1: the variance of size


def read(path):
    """(info, traced memory, rows, blocks as (address, size, serial, row))"""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == MAGIC
    version, flags, _, names, frames, rows, blocks, current, peak = struct.unpack_from("<IIQQQQQQQ", data, 8)
    info = dict(zip(INFO, struct.unpack_from("<18Q", data, 72)))
    assert version in (1, 2) and flags in (0, 1)
    row_size = 112 if version == 2 else 152
    assert len(data) == 216 + names + 12 * frames + row_size * rows + 32 * blocks + 8
    at = 216 + names

    def name(offset):
        if offset == NONE:
            return None
        assert offset < names
        start = 216 + offset
        return data[start:data.index(b"\0", start)].decode("utf-8", "surrogateescape")

    all_frames = [(name(file), name(function), line) for file, function, line in
                  struct.iter_unpack("<III", data[at:at + 12 * frames])]
    at += 12 * frames
    result, used = [], 0
    for i in range(rows):
        fields = struct.unpack_from("<6I", data, at + row_size * i)
        counters = struct.unpack_from("<11Q", data, at + row_size * i + 24)
        assert fields[0] >= 1 and fields[5] == 0
        result.append(Row(all_frames[used:used + fields[0]], fields, counters, name))
        used += fields[0]
    assert used == frames
    at += row_size * rows
    found = [block[:4] for block in struct.iter_unpack("<QQQII", data[at:at + 32 * blocks])]
    return info, (current, peak), result, found if flags else None
