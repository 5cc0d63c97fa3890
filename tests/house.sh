#!/usr/bin/env bash
# Counts that keep texts and code readable: words and sentences of README, CHANGELOG, docs and the headers' comments;
# dialect phrases in tests' comments; lines, functions and names of the headers. Each is held to a limit in this table.
# A number is the limit, or limit>aim; limits are only lowered. Row * is the aim of every text, and the limit of a text
# without a row. Chapters stand in the order of the file, each with its lines: a new one brings its own number, at most
# 1,000. Rows core: the names that mtrace_ext.h may use of mtrace.h beside the public ones. Rows swap: arguments of
# public functions that a compiler takes in either order on some machine. docs/DESIGN.md has the reason for each.
#   tests/house.sh                    all counts, and faults that the checks must find
#   tests/house.sh --show [FILE...]   phrases to avoid and long sentences, each with its line
#   tests/house.sh --tighten          the table anew, with today's counts where they are below the limits
set -u
cd "$(dirname "$0")/.." || exit 1
exec python3 tests/house.py "$@" <<'LIMITS'
# text: what/who/whose/which in 1,000 words, % of sentences over 30 words, dialect phrases
text 5        10       0        *
# lines: lines
lines 15478>5900 mtrace.h
lines 11763>5400 mtrace_ext.h
# functions: functions, lines, median, lines, longest
functions 1060      7        43       mtrace.h
functions 735      9        38       mtrace_ext.h
# names: functions, types, MT_ macros, MTRACE_ switches
names 80>50    33       27       34       mtrace.h
names 59       14       9        11       mtrace_ext.h
# count: of them
count 0        dialect phrases in comments of tests
count 0        lines with #if or its like inside of functions
count 0        pairs of functions with one body
count 0        chapters in more than one place
count 198>55   functions of mtrace.h that one MT_MALLOC reaches
chapters mtrace.h 90 CONFIG, 20 VERSION, 150 COMPILER, 485 TYPES, 80 LIFE CYCLE, 70 QUERIES, 140 SNAPSHOTS,
chapters mtrace.h 120 REPORTS, 50 CHECKS, 500 RECORDING, 300 MACROS, 860 PORTABILITY, 882 STRUCTURES, 280 GATE,
chapters mtrace.h 748 TEXT, 140 NAMES, 190 INTERN, 969 SITES, 500 TRACE TABLE, 180 SAMPLING, 680 COUNTERS, 380 WRONG FREES, 863 RECORD, 648 CODE,
chapters mtrace.h 985 LIFECYCLE, 280 LOOKUP, 180 FILTER, 811 SNAPSHOT, 80 SKIP, 630 GROUP, 320 ROW TEXT, 580 TABLE, 90 BASELINE,
chapters mtrace.h 350 REPORT, 490 DIRECT, 620 DIRECT REPORT, 310 REFERENCE, 410 CHECK
chapters mtrace_ext.h 100 PORTABILITY OF EXT, 250 SYSTEM, 440 CLOCK AND THREAD, 330 OUTPUT, 70 EXIT, 180 MODULES, 100 FILES,
chapters mtrace_ext.h 394 DUMP, 510 LOAD, 180 PICKLE, 60 SOURCE LINES, 150 RECORDER, 720 SAMPLES AND MARKS,
chapters mtrace_ext.h 863 RECORDER REPORTS, 65 CODE NAMES, 180 ADDRESS BOOK, 360 OBJECT FILES, 520 SYMBOLIZER,
chapters mtrace_ext.h 130 IMAGE, 300 RESOLVE, 340 CALL STACKS, 650 UNWIND TABLES, 286 CHAINS, 230 LINE PROFILE, 190 UNWIND, 160 SOURCE OF A FUNCTION, 170 SYMBOLS,
chapters mtrace_ext.h 930 MEASURING, 710 PROFILE REPORT, 290 MEMORY USAGE, 235 BLOCKS UNDER CHECK,
chapters mtrace_ext.h 1000 COMMAND, 420 ENVIRONMENT, 420 CPP
core MTRACE_ADDRESS_FILE_ MTRACE_ADD_ MTRACE_BASE_RESIZE_ MTRACE_CAS_ MTRACE_COLD_ MTRACE_COUNT_ MTRACE_FRAME_ MTRACE_FUNCTION_ MTRACE_GET_ MTRACE_GET_ACQUIRE_
core MTRACE_CACHE_OF_ MTRACE_GOLDEN_ MTRACE_GUARD_ MTRACE_HOSTED_ MTRACE_HIDE_ MTRACE_HOT_ MTRACE_IS_STATIC_ MTRACE_JOIN_ MTRACE_NOINLINE_
core MTRACE_LIKELY_ MTRACE_RETURN_ mtrace_is_on_ mtrace_record_caller_ MTRACE_TEXT_LINE_ MTRACE_MESSAGE_ MTRACE_NULL_ MTRACE_NUMBER_ MTRACE_OFF_ MTRACE_OFF_BEGIN_ MTRACE_OFF_BODY_ MTRACE_OFF_END_ MTRACE_SET_
core MTRACE_SET_RELEASE_ MTRACE_SHARED_ MTRACE_SHORT_NAME_ MTRACE_SIGNAL_FENCE_ MTRACE_STATIC_ MTRACE_THREAD_STORAGE_
core MTRACE_UNKNOWN_ MTRACE_UNLIKELY_ MTRACE_UNUSED_ MTRACE_WIN32_ MTRACE_ZERO_ mtrace_filters_ mtrace_filters_keep_
core mtrace_filters_valid_ mtrace_find_columns_ mtrace_grouped_ mtrace_growth_from_ mtrace_is_code_ mtrace_is_control_ mtrace_magnitude_
core mtrace_match_ mtrace_me_ mtrace_number_ mtrace_put_ mtrace_put_address_ mtrace_put_bytes_
core mtrace_event_place_ mtrace_code_forget_ mtrace_put_char_ mtrace_put_column_ mtrace_put_count_ mtrace_put_dots_ mtrace_put_escaped_ mtrace_put_function_ mtrace_put_hex_
core mtrace_put_key_ mtrace_put_name_ mtrace_put_number_ mtrace_put_number_right_ mtrace_put_right_ mtrace_put_safe_ mtrace_put_size_
core mtrace_put_size_diff_ mtrace_put_size_right_ mtrace_put_table_size_ mtrace_report_error_ mtrace_round_ mtrace_row_count_ mtrace_row_size_
core mtrace_scale_ mtrace_session_after_ mtrace_short_name_ mtrace_site_remember_ mtrace_state_ mtrace_text_ mtrace_text_end_
core mtrace_text_flush_ mtrace_text_to_buffer_ mtrace_text_to_callback_ mtrace_text_to_default_ mtrace_unit_name_
core mtrace_put_warning_ mtrace_row_grew_ mtrace_user_lock_ mtrace_user_unlock_ mtrace_utf8_length_
core MTRACE_PLAIN_ mtrace_system_alloc_ mtrace_system_free_ MTRACE_ATOMICS_ MTRACE_STATE_ mtrace_me_ mtrace_caveats_ mtrace_caveats_read_ mtrace_domain_name_ mtrace_domain_name_of_ mtrace_g_ mtrace_is_to_stdout_
core mtrace_exchange_ mtrace_relocate_name_ mtrace_snapshot_add_names_ mtrace_nth_text_ mtrace_put_caveats_ mtrace_put_line_number_ mtrace_untagged_ mtrace_write_stderr_
swap mtrace_aligned_alloc_at alignment size, mtrace_calloc count size, mtrace_calloc_at count size,
swap mtrace_calloc_in_at count size, mtrace_calloc_in_at domain count, mtrace_calloc_in_at domain size,
swap mtrace_command_complete length index, mtrace_find_tracked domain key, mtrace_find_tracked domain room, mtrace_find_tracked key room,
swap mtrace_growth size tolerance, mtrace_malloc_in_at domain size, mtrace_realloc_in_at domain size,
swap mtrace_reallocarray_at count size, mtrace_snapshot_compare_to snapshot old, mtrace_source_from_file size line,
swap mtrace_aligned_alloc_from alignment size, mtrace_calloc_from count size, mtrace_calloc_in_from count size,
swap mtrace_calloc_in_from domain count, mtrace_calloc_in_from domain size, mtrace_hook_calloc count size,
swap mtrace_malloc_in_from domain size, mtrace_realloc_in_from domain size, mtrace_track_from domain key, mtrace_track_from key size,
swap mtrace_reallocarray_from count size, mtrace_hook_free user block, mtrace_hook_realloc user block,
swap mtrace_track_at domain key, mtrace_track_at key size, mtrace_untrack_at domain key
LIMITS
