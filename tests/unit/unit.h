/*
 * unit - what every unit test's main ends with.
 */
#ifndef PREFORKD_TESTS_UNIT_H
#define PREFORKD_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/* Runs a suite of one case, which it takes over. The exit status. */
static inline int unit_run(const char *name, TCase *tests)
{
    Suite *suite = suite_create(name);
    tcase_set_timeout(tests,
                      120); /* Check's own 4 s are not much on a machine that has other work */
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
