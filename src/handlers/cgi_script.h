/*
 * cgi_script - which program a request means: the configured one, or one beneath the root that the
 * web server names.
 *
 * The way leads from SCRIPT_FILENAME, or DOCUMENT_ROOT and SCRIPT_NAME, to an opened file, which
 * says what PATH_INFO and the rest are. Nothing runs here.
 */
#ifndef PREFORKD_HANDLERS_CGI_SCRIPT_H
#define PREFORKD_HANDLERS_CGI_SCRIPT_H

#include "../config/option.h"
#include "cgi_env.h"

#include <limits.h>

struct cgi_config {
    const char *root, *program;
    struct words suffixes, interpreter, template;
    int template_max_forks;
    int stderr_choice;
};

enum cgi_stderr { CGI_STDERR_LOG, CGI_STDERR_SERVER };

struct cgi_script {
    char path[PATH_MAX];     /* absolute, for the log */
    const char *name;        /* by which it runs, from its directory: "./hello.cgi", or a path */
    const char *interpreter; /* that runs it; NULL: it is a program */
    int program, directory;  /* opened; 0: no program, for the name is all there is to it */
    int template;            /* that may run it, by its place in the configuration; -1: none */
    int source;              /* the same file as `program`, to be read by the template; -1: it can't
                                be, or there is no template */

    /* What is wrong with it: the HTTP status, and for the log a sentence about it, "is no regular
     * file", and an errno or 0. */
    int status;
    const char *fault;
    int error;
};

/* Finds the program, opens it and its directory, and sets what follows from it in the environment.
 * 0, or the HTTP status of a refusal; then nothing is left open. */
int cgi_script_open(struct cgi_script *script, const struct cgi_config *config,
                    struct cgi_env *env);
void cgi_script_close(struct cgi_script *script);

/* Of a word ".suffix=/path": the path, if the name ends in the suffix; else NULL. */
const char *cgi_script_interpreter(const char *word, const char *name);

#endif
