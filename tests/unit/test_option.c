#include "../../src/config/option.h"
#include "unit.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct section {
    int number, bounded, seconds, mode, choice;
    bool flag;
    long long limit, wide;
    const char *text, *bare;
    struct words words, few;
};

static const char *const choices[] = {"red", "green", "blue", NULL};

#define ROW(field, kind, ...)                                                                      \
    {                                                                                              \
        .name = #field, .type = kind, .offset = offsetof(struct section, field), __VA_ARGS__       \
    }

static const struct option_row rows[] = {
    ROW(number, OPTION_NUMBER, .fallback = "7"),
    ROW(bounded, OPTION_NUMBER, .min = -20, .max = 19),
    ROW(seconds, OPTION_SECONDS, .min = 1, .max = 100, .fallback = "60"),
    ROW(mode, OPTION_MODE, .min = 0, .max = 0777, .fallback = "022"),
    ROW(choice, OPTION_CHOICE, .choices = choices, .fallback = "green"),
    ROW(flag, OPTION_BOOL, .fallback = "yes"),
    ROW(limit, OPTION_LIMIT, .min = 16, .max = 1 << 30),
    ROW(wide, OPTION_LIMIT, .min = 0, .max = LLONG_MAX, .fallback = "unlimited"),
    ROW(text, OPTION_TEXT, .min = 1, .max = 8, .fallback = "hi"),
    ROW(bare, OPTION_TEXT),
    ROW(words, OPTION_WORDS),
    ROW(few, OPTION_WORDS, .min = 1, .max = 2),
    OPTION_END,
};

static struct arena *arena;
static struct faults faults;
static struct section section;

static void set_up(void)
{
    arena = arena_open(1024 * 1024);
    faults_init(&faults, arena);
    section = (struct section){0};
    option_defaults(rows, &section, arena);
}

static void tear_down(void)
{
    arena_close(arena);
}

static const struct option_row *row(const char *name)
{
    int index = option_find(rows, name);
    ck_assert_int_ge(index, 0);
    return &rows[index];
}

static const char *printed(const char *name)
{
    static char text[256];
    size_t length = option_print(row(name), &section, text, sizeof text);
    ck_assert_uint_eq(length, strlen(text));
    return text;
}

START_TEST(finds_rows)
{
    ck_assert_int_eq(option_count(rows), 12);
    ck_assert_int_eq(option_find(rows, "number"), 0);
    ck_assert_int_eq(option_find(rows, "few"), 11);
    ck_assert_int_eq(option_find(rows, "fe"), -1);
    ck_assert_int_eq(option_find(rows, ""), -1);
}
END_TEST

START_TEST(knows_where_options_stand)
{
    int lines[12] = {[1] = 9};
    const char *files[12] = {[1] = "other"};
    struct origin origin = {.file = "file", .line = 3, .lines = lines, .files = files};
    ck_assert(option_is_set(rows, &origin, "bounded"));
    ck_assert(!option_is_set(rows, &origin, "number"));
    ck_assert(!option_is_set(rows, &origin, "strange"));
    ck_assert_int_eq(option_line(rows, &origin, "bounded"), 9);
    ck_assert_int_eq(option_line(rows, &origin, "number"), 3);
    ck_assert_str_eq(option_file(rows, &origin, "bounded"), "other");
    ck_assert_str_eq(option_file(rows, &origin, "number"), "file");
    struct origin none = {.file = "file", .line = 3};
    ck_assert(!option_is_set(rows, &none, "bounded"));
    ck_assert_int_eq(option_line(rows, &none, "bounded"), 3);
    ck_assert_str_eq(option_file(rows, &none, "bounded"), "file");
}
END_TEST

static const struct {
    const char *name, *printed;
} defaults[] = {
    {"number", "7"},         {"bounded", "0"}, {"seconds", "60"}, {"mode", "022"},
    {"choice", "\"green\""}, {"flag", "true"}, {"limit", ""},     {"wide", "\"unlimited\""},
    {"text", "\"hi\""},      {"bare", ""},     {"words", ""},     {"few", ""},
};

START_TEST(fills_in_defaults)
{
    ck_assert_str_eq(printed(defaults[_i].name), defaults[_i].printed);
}
END_TEST

static const struct {
    const char *name, *value;
    const char *printed; /* NULL: a fault, and the value stays */
} values[] = {
    {"number", "0", "0"},
    {"number", "-5", "-5"},
    {"number", "2147483647", "2147483647"},
    {"number", "2147483648", NULL},
    {"number", "99999999999999999999", NULL},
    {"number", "010", NULL},
    {"number", "00", NULL},
    {"bounded", "-010", NULL},
    {"number", "", NULL},
    {"number", " 1", NULL},
    {"number", "+1", NULL},
    {"number", "1 ", NULL},
    {"number", "1x", NULL},
    {"number", "0x10", NULL},
    {"number", "1.5", NULL},
    {"number", "--1", NULL},
    {"number", "-", NULL},
    {"bounded", "-20", "-20"},
    {"bounded", "19", "19"},
    {"bounded", "-21", NULL},
    {"bounded", "20", NULL},
    {"seconds", "1", "1"},
    {"seconds", "0", NULL},
    {"seconds", "101", NULL},
    {"seconds", "5s", NULL},
    {"mode", "0", "0"},
    {"mode", "777", "0777"},
    {"mode", "0660", "0660"},
    {"mode", "1000", NULL},
    {"mode", "08", NULL},
    {"mode", "-1", NULL},
    {"mode", "0o660", NULL},
    {"wide", "-1", NULL},
    {"limit", "-1", NULL},
    {"wide", "9223372036854775807", "9223372036854775807"},
    {"wide", "8589934591G", "9223372035781033984"},
    {"wide", "8589934592G", NULL},
    {"wide", "36028797018963968K", NULL},
    {"choice", "blue", "\"blue\""},
    {"choice", "Blue", NULL},
    {"choice", "", NULL},
    {"flag", "true", "true"},
    {"flag", "YES", "true"},
    {"flag", "on", "true"},
    {"flag", "false", "false"},
    {"flag", "no", "false"},
    {"flag", "off", "false"},
    {"flag", "1", NULL},
    {"flag", "", NULL},
    {"limit", "16", "16"},
    {"limit", "15", NULL},
    {"limit", "1K", "1024"},
    {"limit", "2m", "2097152"},
    {"limit", "1G", "1073741824"},
    {"limit", "2G", NULL},
    {"limit", "016", NULL},
    {"wide", "01K", NULL},
    {"limit", "1T", NULL},
    {"limit", "1KB", NULL},
    {"limit", "K", NULL},
    {"limit", "-16", NULL},
    {"limit", "unlimited", "\"unlimited\""},
    {"limit", "Unlimited", NULL},
    {"wide", "9223372036854775807", "9223372036854775807"},
    {"wide", "9223372036854775808", NULL},
    {"wide", "9007199254740993K", NULL},
    {"text", "x", "\"x\""},
    {"text", "12345678", "\"12345678\""},
    {"text", "123456789", NULL},
    {"text", "", NULL},
    {"bare", "", "\"\""},
    {"bare", "a \"b\" \\ ${C} 'd'", "\"a \\\"b\\\" \\\\ \\${C} 'd'\""},
    {"bare", "\n\t\x01\x1f\x7f\xc3\xbc", "\"\\n\\t\\x01\\x1f\\x7f\xc3\xbc\""},
};

START_TEST(reads_values)
{
    const char *name = values[_i].name, *value = values[_i].value;
    char *before = strdup(printed(name));
    option_read(row(name), &section, &value, 1, &faults, "file", 42);
    ck_assert_msg((faults.count == 0) == (values[_i].printed != NULL), "%s = %s", name, value);
    ck_assert_str_eq(printed(name), values[_i].printed ? values[_i].printed : before);
    if (faults.count) {
        ck_assert_str_eq(faults.first->file, "file");
        ck_assert_int_eq(faults.first->line, 42);
        ck_assert(strstr(faults.first->text, name) == faults.first->text);
    }
    free(before);
}
END_TEST

static const struct {
    const char *name, *value, *fault;
} sentences[] = {
    {"number", "x", "number takes a number, not \"x\""},
    {"number", "010", "number takes a number without leading zeroes, not \"010\""},
    {"wide", "08K",
     "wide takes a number from 0, perhaps with K, M or G behind it, or \"unlimited\", without "
     "leading zeroes, not \"08K\""},
    {"bounded", "99", "bounded takes a number from -20 to 19, not \"99\""},
    {"seconds", "5s", "seconds takes a number of seconds from 1 to 100, not \"5s\""},
    {"mode", "8", "mode takes an octal number from 0 to 0777, not \"8\""},
    {"choice", "x", "choice takes red, green or blue, not \"x\""},
    {"flag", "x", "flag takes true or false, not \"x\""},
    {"limit", "x",
     "limit takes a number from 16 to 1073741824, perhaps with K, M or G behind it, or "
     "\"unlimited\", not \"x\""},
    {"wide", "x",
     "wide takes a number from 0, perhaps with K, M or G behind it, or \"unlimited\", not \"x\""},
    {"text", "", "text is empty; it takes a text of 1 to 8 bytes"},
    {"text", "123456789", "text takes a text of 1 to 8 bytes, not \"123456789\""},
    {"number", "", "number is empty; it takes a number"},
    {"flag", "a\nb", "flag takes true or false, not \"a\\nb\""},
};

START_TEST(says_what_is_allowed)
{
    option_read(row(sentences[_i].name), &section, &sentences[_i].value, 1, &faults, "f", 1);
    ck_assert_uint_eq(faults.count, 1);
    ck_assert_str_eq(faults.first->text, sentences[_i].fault);
}
END_TEST

START_TEST(shows_a_long_value_in_part)
{
    char value[1000];
    const char *text = value;
    memset(value, 'x', sizeof value);
    value[sizeof value - 1] = '\0';
    option_read(row("flag"), &section, &text, 1, &faults, "f", 1);
    ck_assert_uint_lt(strlen(faults.first->text), 150);
    ck_assert(strstr(faults.first->text, "xxx...") != NULL);
}
END_TEST

START_TEST(reads_lists)
{
    const char *words[] = {"a", "", "c d"};
    option_read(row("words"), &section, words, 3, &faults, "f", 1);
    ck_assert_str_eq(printed("words"), "{ \"a\", \"\", \"c d\" }");
    ck_assert_int_eq(section.words.count, 3);
    ck_assert_ptr_null(section.words.at[3]);
    option_read(row("words"), &section, NULL, 0, &faults, "f", 1);
    ck_assert_str_eq(printed("words"), "{ }");
    ck_assert_uint_eq(faults.count, 0);
    option_read(row("few"), &section, words, 3, &faults, "f", 1);
    ck_assert_str_eq(faults.first->text, "few takes a list of 1 to 2 values, not 3");
    option_read(row("few"), &section, NULL, 0, &faults, "f", 2);
    ck_assert_uint_eq(faults.count, 2);
    option_read(row("flag"), &section, words, 2, &faults, "f", 3);
    ck_assert_uint_eq(faults.count, 3);
}
END_TEST

START_TEST(print_counts_beyond_the_room)
{
    char text[4];
    ck_assert_uint_eq(option_print(row("choice"), &section, NULL, 0), 7);
    ck_assert_uint_eq(option_print(row("choice"), &section, text, sizeof text), 7);
    ck_assert_str_eq(text, "\"gr");
    ck_assert_uint_eq(option_print(row("bare"), &section, text, sizeof text), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(compares)
{
    struct section other = {0};
    const char *words[] = {"a", "b"};
    option_defaults(rows, &other, arena);
    for (int i = 0; rows[i].name; i++)
        ck_assert_msg(option_equal(&rows[i], &section, &other), "%s", rows[i].name);
    const struct section changed = {1,  1,  1,    1,   2,          false,
                                    99, 99, "ho", "x", {words, 1}, {words, 2}};
    for (int i = 0; rows[i].name; i++)
        ck_assert_msg(!option_equal(&rows[i], &section, &changed), "%s", rows[i].name);
    const char *copy[] = {"a", "c"};
    const struct section near = {.words = {words, 2}}, nearer = {.words = {copy, 2}};
    ck_assert(!option_equal(row("words"), &near, &nearer));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("option");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, finds_rows);
    tcase_add_test(tests, knows_where_options_stand);
    tcase_add_loop_test(tests, fills_in_defaults, 0, sizeof defaults / sizeof *defaults);
    tcase_add_loop_test(tests, reads_values, 0, sizeof values / sizeof *values);
    tcase_add_loop_test(tests, says_what_is_allowed, 0, sizeof sentences / sizeof *sentences);
    tcase_add_test(tests, shows_a_long_value_in_part);
    tcase_add_test(tests, reads_lists);
    tcase_add_test(tests, print_counts_beyond_the_room);
    tcase_add_test(tests, compares);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("option", tests);
}
