/* The parts of cgi that need no connection: the program's header, the environment, interpreters. */
#include "../../src/handlers/cgi_answer.h"
#include "../../src/handlers/cgi_env.h"
#include "../../src/handlers/cgi_script.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    size_t size; /* of the header */
    bool good;
    const char *copy; /* NULL: the same */
    long long length;
} headers[] = {
    {"", 0, false, NULL, -1},
    {"Content-Type: a/b\n", 0, false, NULL, -1},
    {"Content-Type: a/b\n\nbody", 19, true, NULL, -1},
    {"Content-Type: a/b\r\n\r\n\n\n", 21, true, "Content-Type: a/b\n\n", -1},
    {"Content-Type: a/b\n\r\nbody", 20, true, "Content-Type: a/b\n\n", -1},
    {"Content-Type: a/b\r\n\nbody", 20, true, "Content-Type: a/b\n\n", -1},
    {"content-TYPE:\nContent-length: 12\n\n", 34, true, NULL, 12},
    {"Status: 200\nContent-Length:0\n\n", 30, true, NULL, 0},
    {"Content-Length: 7 \r\n\r\n", 22, true, "Content-Length: 7 \n\n", 7},
    {"Content-Length:\n\n12", 17, true, NULL, -1},
    {"Content-Length: \n1: y\n\n", 23, true, NULL, -1},
    {"Content-Length: -5\n\n", 20, true, NULL, -1},
    {"Content-Length: 5, 5\n\n", 22, true, NULL, -1},
    {"Content-Length: 999999999999999999\n\n", 36, true, NULL, 999999999999999999},
    {"Content-Length: 1000000000000000000\n\n", 37, true, NULL, -1},
    {"Location: /\n\n", 13, true, "Status: 302 Found\nLocation: /\n\n", -1},
    {"A: b\r\r\nC: d\r\n\r\n", 15, true, "A: b\nC: d\n\n", -1},
    {"A: b\nlocation:/\r\n\r\n", 19, true, "Status: 302 Found\nA: b\nlocation:/\n\n", -1},
    {"Location: /\nStatus: 201\n\n", 25, true, NULL, -1},
    {"HTTP/1.0 201\nLocation: /\n\n", 26, true, "Status: 201\nLocation: /\n\n", -1},
    {"\nContent-Type: a/b\n\n", 1, false, NULL, -1},
    {"\r\nContent-Type: a/b\n\n", 2, false, NULL, -1},
    {"\r", 0, false, NULL, -1},
    {"hello\n\n", 7, false, NULL, -1},
    {": x\n\n", 5, false, NULL, -1},
    {"A B: x\nStatus: 200\n\n", 20, false, NULL, -1},
    {"Status : 200\n\n", 14, false, NULL, -1},
    {"Status: 200\n x\n\n", 16, false, NULL, -1},
    {"X: y\n\n", 6, true, NULL, -1},
    {"HTTP/1.1 200 OK\r\nConnection: x\r\nA: b\r\n\r\nbody", 40, true, "Status: 200 OK\nA: b\n\n",
     -1},
    {"HTTP/1.0 404\n\n", 14, true, "Status: 404\n\n", -1},
    {"HTTP/1.1 200 OK\nKEEP-ALIVE: 5\nTransfer-Encoding: chunked\nA: b\n\n", 63, true,
     "Status: 200 OK\nA: b\n\n", -1},
    {"HTTP/1.1 20\n\n", 13, false, NULL, -1},
    {"HTTP/11 200\n\n", 13, false, NULL, -1},
};

/* Fed byte by byte, and at once. */
START_TEST(program_headers)
{
    char to[100];
    const char *text = headers[_i].text;
    size_t found = 0, length = strlen(text), size = headers[_i].size;
    for (size_t n = 1; n <= length && !found; n++)
        found = cgi_header_size(text, n, n - 1);
    ck_assert_uint_eq(found, size);
    ck_assert_uint_eq(cgi_header_size(text, length, 0), size);
    if (size == 0)
        return;
    ck_assert_msg((cgi_header_fault(text, size) == NULL) == headers[_i].good, "%s", text);
    if (!headers[_i].good)
        return;
    const char *copy = headers[_i].copy ? headers[_i].copy : text;
    size_t copied = cgi_header_copy(to, text, size);
    ck_assert_uint_eq(copied, headers[_i].copy ? strlen(copy) : size);
    ck_assert_uint_le(copied, size + CGI_HEADER_MORE);
    ck_assert_mem_eq(to, copy, copied);
    ck_assert_int_eq(cgi_header_length(text, size), headers[_i].length);
}
END_TEST

START_TEST(no_header_has_a_nul)
{
    static const char text[] = "A: b\0c\n\n";
    ck_assert_ptr_nonnull(cgi_header_fault(text, sizeof text - 1));
}
END_TEST

static struct cgi_env env;

static void begin(void)
{
    static char path[] = "PATH=/bin", home[] = "HOME=/";
    static char *const pool[] = {path, home, NULL};
    cgi_env_begin(&env, pool);
}

START_TEST(parameters)
{
    char params[] = "\1\1Ax\4\4PATH/tmp\1\0B\1\3Axyz\12\1HTTP_PROXYy\12\1LD_PRELOADz";
    begin();
    ck_assert(cgi_env_take(&env, params, sizeof params - 1));
    ck_assert_str_eq(cgi_env_get(&env, "A"), "xyz");
    ck_assert_str_eq(cgi_env_get(&env, "B"), "");
    ck_assert_str_eq(cgi_env_get(&env, "PATH"), "/bin");
    ck_assert_ptr_null(cgi_env_get(&env, "HTTP_PROXY"));
    ck_assert_ptr_null(cgi_env_get(&env, "LD_PRELOAD"));
    ck_assert_int_eq(env.count, 4);
    ck_assert_ptr_null(env.list[4]);
}
END_TEST

START_TEST(setting_and_unsetting)
{
    begin();
    ck_assert(cgi_env_set(&env, "X", "1") && cgi_env_set(&env, "Y", "2"));
    ck_assert(cgi_env_set(&env, "X", "3") && cgi_env_set(&env, "HOME", "/mine"));
    ck_assert_str_eq(cgi_env_get(&env, "X"), "3");
    ck_assert_str_eq(cgi_env_get(&env, "HOME"), "/");
    cgi_env_unset(&env, "X");
    cgi_env_unset(&env, "HOME");
    cgi_env_unset(&env, "NONE");
    ck_assert_ptr_null(cgi_env_get(&env, "X"));
    ck_assert_str_eq(cgi_env_get(&env, "HOME"), "/");
    ck_assert_str_eq(cgi_env_get(&env, "Y"), "2");
    ck_assert_ptr_null(env.list[env.count]);
}
END_TEST

/* What nginx and Caddy send if no password was asked for. */
START_TEST(nobody_is_no_user)
{
    begin();
    ck_assert(cgi_env_set(&env, "REMOTE_USER", "") && cgi_env_complete(&env));
    ck_assert_ptr_null(cgi_env_get(&env, "REMOTE_USER"));
    ck_assert(cgi_env_set(&env, "REMOTE_USER", "x") && cgi_env_complete(&env));
    ck_assert_str_eq(cgi_env_get(&env, "REMOTE_USER"), "x");
}
END_TEST

/* A password stays with the web server if that asked for it. */
START_TEST(password_stays_where_it_was_asked_for)
{
    begin();
    ck_assert(cgi_env_set(&env, "HTTP_AUTHORIZATION", "Basic eDp5") && cgi_env_complete(&env));
    ck_assert_ptr_nonnull(cgi_env_get(&env, "HTTP_AUTHORIZATION"));
    ck_assert(cgi_env_set(&env, "AUTH_TYPE", "Basic") && cgi_env_complete(&env));
    ck_assert_ptr_null(cgi_env_get(&env, "HTTP_AUTHORIZATION"));
}
END_TEST

START_TEST(fills_up)
{
    char name[16];
    bool room = true;
    begin();
    for (int i = 0; room; i++) {
        snprintf(name, sizeof name, "N%d", i);
        room = cgi_env_set(&env, name, "value");
    }
    ck_assert_int_le(env.count, CGI_VARIABLES_MAX);
    ck_assert_ptr_null(env.list[env.count]);
}
END_TEST

static const struct {
    const char *text;
    long long length;
} lengths[] = {
    {"0", 0},
    {"12", 12},
    {"", -1},
    {"-1", -1},
    {"+1", -1},
    {"1 ", -1},
    {"0x1", -1},
    {"999999999999999999", 999999999999999999},
    {"9999999999999999999", -1},
};

START_TEST(content_lengths)
{
    begin();
    ck_assert_int_eq(cgi_env_length(&env), -1);
    ck_assert(cgi_env_set(&env, "CONTENT_LENGTH", lengths[_i].text));
    ck_assert_int_eq(cgi_env_length(&env), lengths[_i].length);
}
END_TEST

START_TEST(interpreters)
{
    ck_assert_str_eq(cgi_script_interpreter(".php=/bin/php", "/a/b.php"), "/bin/php");
    ck_assert_ptr_null(cgi_script_interpreter(".php=/bin/php", "/a/b.phps"));
    ck_assert_ptr_null(cgi_script_interpreter(".php=/bin/php", "php"));
    ck_assert_ptr_null(cgi_script_interpreter(".php", "x.php"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cgi");
    tcase_add_loop_test(tests, program_headers, 0, sizeof headers / sizeof *headers);
    tcase_add_test(tests, parameters);
    tcase_add_test(tests, setting_and_unsetting);
    tcase_add_test(tests, nobody_is_no_user);
    tcase_add_test(tests, no_header_has_a_nul);
    tcase_add_test(tests, password_stays_where_it_was_asked_for);
    tcase_add_test(tests, fills_up);
    tcase_add_loop_test(tests, content_lengths, 0, sizeof lengths / sizeof *lengths);
    tcase_add_test(tests, interpreters);
    return unit_run("cgi", tests);
}
