// Text as Python has it: characters are code points, and messages quote, cut and split as Python's do.
//
// Strings are UTF-8. A JSON escape may name half of a surrogate pair; it is kept as the three bytes that UTF-8
// would have for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ghostclas {

// The code point at `at`, which is moved behind it. A byte that belongs to no UTF-8 sequence is U+DC00 + byte, as
// Python's `surrogateescape` has it.
char32_t next_code_point(std::string_view text, std::size_t& at);

void append_utf8(std::string& text, char32_t code_point);

// The number of code points.
std::size_t length_of(std::string_view text);

// The first `count` code points.
std::string_view first_of(std::string_view text, std::size_t count);

// Python's repr() of a str, except that characters which Python's Unicode tables call unprintable stay, outside of
// the control characters, blanks and marks of the Latin and general punctuation blocks.
std::string quoted(std::string_view text);

// What is longer than 80 characters is cut, with "..." behind it.
std::string shortened(std::string text);

// " ".join(text.split())
std::string on_one_line(std::string_view text);

// Bytes of a file name or message as text that fits into JSON: what is no UTF-8 becomes "\udcff".
std::string valid_utf8(std::string_view text);

// Whether `a` comes before `b`, compared by code points as next_code_point returns them.
bool comes_before(std::string_view a, std::string_view b);

// Lower case by the rules of ASCII, Latin-1, Greek and Cyrillic letters.
std::string folded(std::string_view text);

bool starts_with(std::string_view text, std::string_view part);
bool ends_with(std::string_view text, std::string_view part);

// Control characters and invisible marks are written as \n or \x1b: the text moves no cursor.
std::string printable(std::string_view text);

// An error or a note; lines after the first stand in as far as "error: ".
std::string printable_message(std::string_view text);

// A JSON document that says the same in printable characters.
std::string printable_json(std::string_view text);

// What is wrong with text that should be UTF-8, as Python's UnicodeDecodeError says it; empty where nothing is.
std::string utf8_problem(std::string_view bytes);

}  // namespace ghostclas
