"""Rows are found in damaged stores in bounded time. What is found is tested with damaged stores elsewhere."""

from pathlib import Path

from mien.describe.store.salvage import salvage

PAGE = 32_768


def varint(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | value & 0x7F)
    return bytes(reversed(parts))


def test_thousands_of_records_that_claim_the_same_pages_end_soon(tmp_path: Path) -> None:
    num_pages = 256
    length = num_pages * PAGE
    # Seven columns of text, of which the last takes what the head and the others leave.
    codes = b"".join(varint(13) for _ in range(6))
    head_length = 1 + len(codes) + len(varint(2 * length))
    head = bytes([head_length]) + codes + varint(2 * (length - head_length) + 13)
    assert len(head) == head_length
    cell = varint(length) + head
    places = 4_000  # cells in one page, all at the same place
    start = 12_000
    page = bytearray(PAGE)
    page[0] = 0x0D
    page[3:5] = places.to_bytes(2)
    page[8 : 8 + 2 * places] = start.to_bytes(2) * places
    page[start : start + len(cell)] = cell
    for place in range(start + len(cell), PAGE - 3, 4):
        page[place : place + 4] = (3).to_bytes(4)
    loop = (3).to_bytes(4) + bytes(PAGE - 4)  # the third page is continued by itself
    path = tmp_path / "hostile.sqlite"
    path.write_bytes(bytes(16) + PAGE.to_bytes(2) + bytes(PAGE - 18) + bytes(page) + loop * (num_pages - 2))
    assert list(salvage(path)) == []
