/*
 * conf - configurations for tests: a directory of its own with files in it, and the faults found in
 * them.
 */
#ifndef PREFORKD_TESTS_CONF_H
#define PREFORKD_TESTS_CONF_H

#include "../../src/config/config.h"

/* Handlers for tests: echo has no options, exec has a command and refuses idle_timeout. */
struct conf_exec {
    struct words command;
    int stderr_choice;
};

extern const struct handler_section *const conf_handlers[];

/* Makes a directory and enters it; conf_close() leaves it, and removes it with all files. */
void conf_open(void);
void conf_close(void);

void conf_write(const char *name, const char *text);
void conf_write_bytes(const char *name, const void *bytes, size_t size);

/* The name of the user who runs the test, whom pools may name, root or not. */
const char *conf_self(void);

/* Writes `text` to the file t.conf, and loads it. Release it by config_unref(). */
struct config *conf_load(const char *text);
struct config *conf_load_file(const char *name);

/* The faults, one per line: "LINE: what", after the file's name unless that is t.conf. To be freed.
 * */
char *conf_faults(const struct config *config);

/* Fails the test unless the faults are as expected: one line each, in order. A fault must begin
 * with the place in its line, and contain the rest. `what` names the case. */
void conf_expect(const char *what, const struct config *config, const char *expected);

/* The dump. To be freed. */
char *conf_dump(const struct config *config);

#endif
