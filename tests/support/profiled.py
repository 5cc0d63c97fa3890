"""For tests/memory_profiler.sh: run by memory_profiler. profiled.c has the same functions, statement for statement.
Lines with a number are compared."""
MIB = 1 << 20


def make(size):
    return bytearray(size * MIB)


def use_for_a_while(size):
    block = bytearray(size * MIB)
    return block[0]


@profile  # 0
def straight():
    a = bytearray(20 * MIB)  # 1
    b = bytearray(40 * MIB)  # 2
    del b  # 3
    return a


@profile  # 0
def copies():
    data = bytearray(20 * MIB)  # 1
    for _ in range(5):
        copy = bytearray(data)  # 2
        del copy  # 3
    del data  # 4


@profile  # 0
def accumulate():
    kept = []
    for _ in range(5):
        kept.append(bytearray(10 * MIB))  # 1
    for _ in range(5):  # 2
        kept.pop()  # 3


@profile  # 0
def helper():
    a = make(30)  # 1
    b = make(30)  # 2
    del a  # 3
    del b  # 4


@profile  # 0
def temporary():
    a = bytearray(10 * MIB)  # 1
    use_for_a_while(40)  # 2
    use_for_a_while(40)  # 3
    del a  # 4


@profile  # 0
def early(stop):
    a = bytearray(20 * MIB)  # 1
    if stop:
        del a  # 2
        return
    b = bytearray(40 * MIB)  # 3
    del a  # 4
    del b  # 5


@profile  # 0
def several():
    a = bytearray(10 * MIB)  # 1
    b = bytearray(20 * MIB)  # 2
    del b  # 3
    return a


@profile  # 0
def lower():
    a = bytearray(20 * MIB)  # 1
    del a  # 2


@profile  # 0
def rounds():
    kept = []
    for _ in range(5):
        kept.append(make(4))  # 1
    for _ in range(5):
        kept.append(make(4))  # 2
    kept.clear()  # 3


@profile  # 0
def inner():
    block = bytearray(30 * MIB)  # 1
    return block


@profile  # 0
def outer():
    a = bytearray(10 * MIB)  # 1
    b = inner()  # 2
    c = inner()  # 3
    del a  # 4
    del b  # 5
    del c  # 6


straight()
copies()
accumulate()
helper()
temporary()
early(True)
blocks = [several(), several(), several()]
blocks.clear()
big = bytearray(40 * MIB)
lower()
del big
lower()
rounds()
outer()
