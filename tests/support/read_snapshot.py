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


class Module:
    def __init__(self, fields, name):
        self.path, size, self.load_address, self.size, build_id = name(fields[0]), *fields[1:]
        assert self.path is not None and size <= 32 and not any(build_id[size:])
        self.build_id = build_id[:size]


def frame_of(location, modules, name):
    """(file, function, line). If code has no line, the file is its text in a report."""
    file, function, line, module, address = location
    assert module <= len(modules)
    is_code = line == 0 and (module != 0 or address != 0)
    assert (file == NONE) == is_code
    if is_code:
        shown = (modules[module - 1].path + "+" if module else "") + hex(address)
    return shown if is_code else name(file), name(function), line


def read(path):
    """(info, traced memory, rows, blocks as (address, size, serial, row, tracked))"""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == MAGIC
    version, flags, _, names, frames, rows, blocks, current, peak = struct.unpack_from("<IIQQQQQQQ", data, 8)
    info = dict(zip(INFO, struct.unpack_from("<18Q", data, 72)))
    assert version in (1, 2) and flags in (0, 1)
    start, frame_size, row_size = (240, 4, 112) if version == 2 else (216, 12, 152)
    modules, locations = struct.unpack_from("<QQ", data, 216) if version == 2 else (0, 0)
    info["lost_interned"] = struct.unpack_from("<Q", data, 232)[0] if version == 2 else 0
    assert len(data) == start + names + 56 * modules + 24 * locations + frame_size * frames + row_size * rows + \
        32 * blocks + 8
    at = start

    def part(size):
        nonlocal at
        at += size
        return data[at - size:at]

    def name(offset):
        if offset == NONE:
            return None
        assert offset < names and (offset == 0 or data[start + offset - 1] == 0)
        return data[start + offset:data.index(b"\0", start + offset)].decode("utf-8", "surrogateescape")

    part(names)
    all_modules = [Module(fields, name) for fields in struct.iter_unpack("<IIQQ32s", part(56 * modules))]
    located = [frame_of(fields, all_modules, name) for fields in struct.iter_unpack("<IIIIQ", part(24 * locations))]
    if version == 2:
        all_frames = [located[number] for number, in struct.iter_unpack("<I", part(4 * frames))]
    else:
        all_frames = [frame_of(fields + (0, 0), [], name) for fields in struct.iter_unpack("<III", part(12 * frames))]
    result, used = [], 0
    for i in range(rows):
        row = part(row_size)
        fields, counters = struct.unpack_from("<6I", row), struct.unpack_from("<11Q", row, 24)
        assert fields[0] >= 1 and fields[5] == 0
        result.append(Row(all_frames[used:used + fields[0]], fields, counters, name))
        used += fields[0]
    assert used == frames
    found = list(struct.iter_unpack("<QQQII", part(32 * blocks)))
    assert all(block[4] <= 1 for block in found)
    return info, (current, peak), result, found if flags else None
