/* What is syntax: characters, strings, comments, braces, includes; the text that libconfuse gets.
 */
#include "../../src/config/source.h"
#include "unit.h"

#include "conf.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *config; /* lends its arena and its faults */
static struct arena *scratch;

static void set_up(void)
{
    conf_open();
    config = config_new();
    scratch = arena_open(64 * 1024 * 1024);
    ck_assert(config && scratch);
}

static void tear_down(void)
{
    arena_close(scratch);
    config_unref(config);
    conf_close();
}

static struct syntax read_text(const char *text, size_t size)
{
    struct syntax syntax;
    syntax_read(&syntax, text, size, "t.conf", scratch, &config->faults);
    return syntax;
}

static void print(const struct statement *s, FILE *out)
{
    for (; s; s = s->next) {
        if (s->kind == STATEMENT_VALUE || s->kind == STATEMENT_LIST)
            syntax_print(s, out);
        print(s->first, out);
    }
}

/* The text that libconfuse gets for all options, also those in sections. To be freed. */
static char *written(const struct syntax *syntax)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print(syntax->first, out);
    fclose(out);
    return text;
}

/* --- the syntax ---------------------------------------------------------------------------- */

static const struct {
    const char *text, *expected;
} broken[] = {
    {"a = \"b\nc = d\n", "1: string opened here is not closed"},
    {"a = \"b\nc = \"d\"\n", "1: string opened here is not closed"},
    {"\na = 'b", "2: string opened here is not closed"},
    {"a = \"b\\\"\n", "1: string opened here is not closed"},
    {"a = \"b\\", "1: string opened here is not closed"},
    {"a = 1\n/* b\nc", "2: comment opened here is not closed"},
    {"a = 1 /*", "1: comment opened here is not closed"},
    {"a = 1 /*/ b = 2", "1: comment opened here is not closed"},
    {"\ns {\n a = 1\n", "2: section opened here is not closed"},
    {"s {\n t {\n a = 1\n }\n", "1: section opened here is not closed"},
    {"s {\n t {\n a = 1\n", "2: section opened here is not closed"},
    {"s \"t\"\n{", "2: section opened here is not closed"},
    {"a = {\n \"b\",\n \"c\"\n", "1: list opened here is not closed"},
    {"a = { \"b\"\nc = 3\n", "1: list opened here is not closed"},
    {"a = { \"b\",\nc = 3\n", "1: list opened here is not closed"},
    {"a = { b\nc { }\n", "1: list opened here is not closed"},
    {"a = {\n\"b\"\n\"c\" }\n", "3: unexpected \"c\"; expected , or }"},
    {"a = { \"b\",\n, \"c\" }\n", "2: unexpected \",\"; expected a value or }"},
    {"a = 1\n}\n", "2: this } closes nothing"},
    {"a = 1\n;\n", "2: unexpected \";\""},
    {"a = 1\n* = 2\n", "2: unexpected \"*\""},
    {"a = 1\n=\n", "2: unexpected \"=\"; expected an option"},
    {"a = 1\n\"b\" = 2\n", "2: unexpected \"b\"; expected an option"},
    {"a = 1\n1b = 2\n", "2: unexpected \"1b\""},
    {"a 1\n", "1: unexpected 1 behind a; expected ="},
    {"a = = 1\n", "1: unexpected \"=\"; expected a value"},
    {"a =\n", "1: a = has no value; write a = VALUE"},
    {"a", "1: a is not complete; write a = VALUE"},
    {"a = (b)", "1: unexpected \"(\"; expected a value"},
    {"f(\"x\")", "1: unexpected \"(\""},
    {"a = \"b\"c", "1: a blank or a comma is missing behind a string"},
    {"a = \"b\"\"c\"", "1: a blank or a comma is missing behind a string"},
    {"include(", "1: the file ends where the pattern"},
    {"include()", "1: unexpected \")\"; expected the pattern"},
    {"include(\"a\",\n\"b\")", "1: unexpected \",\"; expected )"},
    {"include(\"a\"", "1: the file ends where )"},
    {"a{b{c{d{e{f{g{h{i{j{", "1: sections are nested too deeply"},
    {"a = 1 \x1b[2J = 2\n\x7f", "1: control character (\\x1b)\n1: unexpected \"[2J\"; expected\n"
                                "2: control character (\\x7f)"},
};

START_TEST(broken_syntax)
{
    struct syntax syntax = read_text(broken[_i].text, strlen(broken[_i].text));
    ck_assert_msg(syntax.broken, "%s", broken[_i].text);
    conf_expect(broken[_i].text, config, broken[_i].expected);
}
END_TEST

static const struct {
    const char *text;
    size_t size;
    const char *expected;
} odd[] = {
    {"a = \"b\0c\"\n", 10, "1: control character (\\x00, NUL)"},
    {"a = 1\n\n# \x1b[2J\n", 13, "3: control character (\\x1b)"},
    {"a\x7f = 1", 6, "1: control character (\\x7f)"},
    {"a = 1\rb = 2\n", 12, "1: control character (\\x0d)"},
    {"a = \f1\n/* \v */\n", 15, "1: control character (\\x0c)\n2: control character (\\x0b)"},
    {"\x01\x02", 2, "1: control character (\\x01)"},
    {"a = \"b\\\r\nc\"\r\n", 12, ""},
    {"a = b\x1b[2Jc\n", 11, "1: control character (\\x1b)"},
    {"a = \"\\0\"", 8, "1: \\0 is a NUL"},
    {"a = \"b\n\\x00\"", 12, "2: \\x00 is a NUL"},
    {"a = \"\\400\"", 10, "1: unknown escape \\400"},
    {"a = \"\\0123\"", 11, "1: unknown escape \\0123"},
    {"a = \"\\8\"", 8, "1: unknown escape \\8"},
    {"a = \"\\d+\"", 9, "1: unknown escape \\d"},
    {"a = \"\\xg\"", 9, "1: unknown escape \\x"},
    {"s { include(\"x\") }", 18, "1: include is allowed only outside of sections"},
};

/* Faults in characters, after which reading continues. */
START_TEST(odd_characters)
{
    struct syntax syntax = read_text(odd[_i].text, odd[_i].size);
    conf_expect(odd[_i].text, config, odd[_i].expected);
    ck_assert(!syntax.broken);
}
END_TEST

START_TEST(long_lines)
{
    char text[SYNTAX_LINE_MAX + 16];
    memset(text, 'x', sizeof text);
    memcpy(text, "\n#", 2);
    text[1 + SYNTAX_LINE_MAX] = '\n';
    ck_assert(!read_text(text, SYNTAX_LINE_MAX + 2).broken);
    ck_assert_uint_eq(config->faults.count, 0);
    ck_assert(!read_text(text, SYNTAX_LINE_MAX + 1).broken);
    ck_assert_uint_eq(config->faults.count, 0);
    text[1 + SYNTAX_LINE_MAX] = 'x';
    read_text(text, SYNTAX_LINE_MAX + 2);
    conf_expect("long line", config, "2: too long");
}
END_TEST

/* The text that libconfuse gets: no comments, every value quoted. */
static const struct {
    const char *text, *written;
} texts[] = {
    {"", ""},
    {"\n\n", ""},
    {"a=b", "a = \"b\"\n"},
    {"# x\na = 1 // y\n/* z\n*/ b += 2", "a = \"1\"\nb = \"2\"\n"},
    {"//x\na = x//y", "a = \"x//y\"\n"},
    {"a = x/*y*/ b = z#w", "a = \"x\"\nb = \"z\"\n"},
    {"a = { b, # c\n 'd', } e = { }", "a = { \"b\", 'd' }\ne = { }\n"},
    {"a = *:80", "a = \"*:80\"\n"},
    {"a = a+b", "a = \"a+b\"\n"},
    {"a+=b", "a = \"b\"\n"},
    {"a = ${HOME}", NULL},
    {"a = \"${HOME}$\"", "a = \"\\${HOME}\\$\"\n"},
    {"a = \"\\$x\\\"\\\\$\"", "a = \"\\$x\\\"\\\\\\$\"\n"},
    {"a = '${HOME}\\'$'", "a = '${HOME}\\'$'\n"},
    {"a = c:\\$x", "a = \"c:\\\\\\$x\"\n"},
    {"a = \"x # y // z /* {\"", "a = \"x # y // z /* {\"\n"},
    {"a = \"x\\\ny\nz\" b = 1", "a = \"x\\\ny\nz\"\nb = \"1\"\n"},
    {"p \"t\" {\r\n a = 1\r\n}", "a = \"1\"\n"},
    {"p t{a=1 q{}}", "a = \"1\"\n"},
    {"include(\"x\") a = 1", "a = \"1\"\n"},
    {"a = 1 s { b = 2 c = { \"d\"", "a = \"1\"\nb = \"2\"\n"},
    {"\xef\xbb\xbf"
     "a = \xc3\xbc",
     "a = \"\xc3\xbc\"\n"},
};

START_TEST(text_for_libconfuse)
{
    struct syntax syntax = read_text(texts[_i].text, strlen(texts[_i].text));
    char *text = written(&syntax);
    if (texts[_i].written)
        ck_assert_str_eq(text, texts[_i].written);
    else /* unquoted braces are braces */
        ck_assert(syntax.broken);
    free(text);
}
END_TEST

START_TEST(statements_and_their_lines)
{
    static const char text[] =
        "a = 1 /* \n\n */ b = { x }\n\np \"t\\\"u\" # y\n{\n c = \"\n\n\"\n d = 1 }\n"
        "include('x*')\n";
    struct syntax syntax = read_text(text, strlen(text));
    const struct statement *a = syntax.first, *b = a->next, *p = b->next, *i = p->next;
    ck_assert(!syntax.broken && !i->next);
    ck_assert(a->kind == STATEMENT_VALUE && a->line == 1 && strcmp(a->name, "a") == 0);
    ck_assert(b->kind == STATEMENT_LIST && b->line == 3 && strcmp(b->name, "b") == 0);
    ck_assert(p->kind == STATEMENT_SECTION && p->line == 5 && strcmp(p->title, "t\\\"u") == 0);
    ck_assert(p->first->line == 7 && p->first->next->line == 10 && !p->first->next->next);
    ck_assert(i->kind == STATEMENT_INCLUDE && i->line == 11 && strcmp(i->title, "x*") == 0);
}
END_TEST

START_TEST(open_section_keeps_what_was_read)
{
    struct syntax syntax = read_text("s {\n a = 1\n b = {\n", 17);
    ck_assert(syntax.broken && syntax.first->open && !syntax.first->next);
    ck_assert(syntax.first->first && !syntax.first->first->next);
}
END_TEST

/* --- the files ----------------------------------------------------------------------------- */

/* The names of the files that were read, in order. */
static const char *names(const struct source *sources)
{
    static char text[1024];
    text[0] = '\0';
    for (; sources; sources = sources->next)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", sources->file);
    return text;
}

static const struct source *sources_of(const char *text)
{
    bool whole;
    conf_write("t.conf", text);
    const struct source *sources = source_read("t.conf", scratch, &config->faults, &whole);
    ck_assert_int_eq(whole, config->faults.count == 0);
    return sources;
}

START_TEST(includes_are_sorted_and_relative)
{
    ck_assert_int_eq(mkdir("d", 0700), 0);
    ck_assert_int_eq(mkdir("d/e[f]", 0700), 0);
    conf_write("d/b.conf", "include(\"e[[]f]/x.conf\") "
                           "include('none.*') include('e[[]f]/[y].conf')");
    conf_write("d/a.conf", "");
    conf_write("d/B.conf", "");
    conf_write("d/e[f]/x.conf", "include(\"*.c\")");
    conf_write("d/e[f]/y.conf", "");
    conf_write("d/e[f]/z.c", "");
    const struct source *sources = sources_of("include(\"d/*.conf\")\ninclude(\"nothing/*\")");
    conf_expect("sorted", config, "");
    ck_assert_str_eq(names(sources), "t.conf d/B.conf d/a.conf d/b.conf d/e[f]/x.conf d/e[f]/z.c "
                                     "d/e[f]/y.conf ");
}
END_TEST

START_TEST(includes_that_fail)
{
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(symlink("t.conf", "link"), 0);
    ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
    const struct source *sources =
        sources_of("include(\"missing.conf\")\ninclude(\"fifo\") include(\"/tmp\")\n"
                   "include(\"/dev/zero\")\ninclude(\"t.conf\")\ninclude(\"link\")\n"
                   "include(\"dang*\")\ninclude(\"\\a\")\n");
    conf_expect("failing", config,
                "1: include: missing.conf cannot be opened: No such file\n"
                "2: include: fifo is not a regular file\n"
                "2: include: /tmp is not a regular file\n"
                "3: include: /dev/zero is not a regular file\n"
                "4: include: t.conf includes itself\n"
                "5: include: link includes itself\n"
                "6: include: dangling cannot be opened: No such file\n"
                "7: a pattern of include takes a backslash\n"
                "7: include: a cannot be opened");
    ck_assert_str_eq(names(sources), "t.conf ");
}
END_TEST

START_TEST(includes_that_loop)
{
    conf_write("a", "\ninclude(\"b\")");
    conf_write("b", "\n\ninclude(\"c\")");
    conf_write("c", "include(\"a\")");
    sources_of("include(\"a\")");
    conf_expect("loop", config, "c:1: include: a includes itself");
}
END_TEST

START_TEST(broken_in_an_included_file)
{
    conf_write("a", "\nx = \"y");
    conf_write("b", "/*");
    conf_write("c", "\n\ns {");
    sources_of("include(\"a\") include(\"b\") include(\"c\")\n}");
    conf_expect("broken", config, "2: this }\na:2: string\nb:1: comment\nc:3: section");
}
END_TEST

START_TEST(main_file_that_fails)
{
    bool whole;
    ck_assert_ptr_null(source_read("none", scratch, &config->faults, &whole));
    ck_assert_ptr_null(source_read("/dev/null", scratch, &config->faults, &whole));
    ck_assert_ptr_null(source_read("", scratch, &config->faults, &whole));
    conf_expect("main", config,
                "none:0: the file cannot be opened: No such file\n"
                "/dev/null:0: the file is not a regular file\n"
                ":0: the file cannot be opened");
    ck_assert(!whole);
}
END_TEST

START_TEST(size_is_bounded)
{
    char *text = malloc(SOURCE_SIZE_MAX + 1);
    memset(text, '\n', SOURCE_SIZE_MAX + 1);
    conf_write_bytes("big", text, SOURCE_SIZE_MAX);
    conf_write_bytes("bigger", text, SOURCE_SIZE_MAX + 1);
    free(text);
    sources_of("include(\"big\")\ninclude(\"bigger\")");
    conf_expect("size", config, "2: include: bigger is too large: more than 1 MiB");
}
END_TEST

START_TEST(sum_of_sizes_is_bounded)
{
    char *text = malloc(SOURCE_SIZE_MAX);
    memset(text, '\n', SOURCE_SIZE_MAX);
    conf_write_bytes("big", text, SOURCE_SIZE_MAX);
    free(text);
    sources_of("include(\"big\") include(\"big\") include(\"big\")\ninclude(\"big\")");
    conf_expect("sum", config, "2: include: big is too large: more than 4 MiB");
}
END_TEST

START_TEST(depth_is_bounded)
{
    char name[16], text[32];
    for (int i = 1; i <= SOURCE_DEPTH_MAX + 1; i++) {
        snprintf(name, sizeof name, "f%d", i);
        snprintf(text, sizeof text, "include(\"f%d\")", i + 1);
        conf_write(name, i <= SOURCE_DEPTH_MAX ? text : "");
    }
    sources_of("include(\"f2\")");
    conf_expect("depth 16", config, "");
    sources_of("include(\"f1\")");
    conf_expect("depth 17", config, "f16:1: include: f17 is included too deeply");
}
END_TEST

/* Every file includes the next one three times: without a limit on files, this would never end. */
START_TEST(number_is_bounded)
{
    char name[16], text[80];
    for (int i = 1; i <= SOURCE_DEPTH_MAX; i++) {
        snprintf(name, sizeof name, "f%d", i);
        snprintf(text, sizeof text, "include(\"f%d\") include(\"f%d\") include(\"f%d\")", i + 1,
                 i + 1, i + 1);
        conf_write(name, i < SOURCE_DEPTH_MAX ? text : "");
    }
    sources_of("include(\"f1\")");
    ck_assert_uint_eq(config->faults.count, 1);
    ck_assert(strstr(config->faults.first->text, "exceeds the limit of files") != NULL);
}
END_TEST

static int open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

START_TEST(descriptors_are_closed)
{
    int before = open_descriptors();
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    conf_write("a", "x = \"");
    for (int i = 0; i < 20; i++)
        sources_of("include(\"a\") include(\"fifo\") include(\"none\") include(\"t.conf\")");
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("source");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, broken_syntax, 0, sizeof broken / sizeof *broken);
    tcase_add_loop_test(tests, odd_characters, 0, sizeof odd / sizeof *odd);
    tcase_add_test(tests, long_lines);
    tcase_add_loop_test(tests, text_for_libconfuse, 0, sizeof texts / sizeof *texts);
    tcase_add_test(tests, statements_and_their_lines);
    tcase_add_test(tests, open_section_keeps_what_was_read);
    tcase_add_test(tests, includes_are_sorted_and_relative);
    tcase_add_test(tests, includes_that_fail);
    tcase_add_test(tests, includes_that_loop);
    tcase_add_test(tests, broken_in_an_included_file);
    tcase_add_test(tests, main_file_that_fails);
    tcase_add_test(tests, size_is_bounded);
    tcase_add_test(tests, sum_of_sizes_is_bounded);
    tcase_add_test(tests, depth_is_bounded);
    tcase_add_test(tests, number_is_bounded);
    tcase_add_test(tests, descriptors_are_closed);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("source", tests);
}
