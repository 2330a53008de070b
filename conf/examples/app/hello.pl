#!/usr/bin/perl
# A FastCGI program on the listener in descriptor 0. On SIGTERM it finishes the request in hand.
# libfcgi closes a connection over a Unix socket if a signal arrives just after accept(). So SIGTERM is
# blocked while a request is accepted and served; between requests, its handler writes to a pipe.
use strict;
use warnings;
use FCGI;
use Fcntl;
use IO::Select;
use POSIX ();

open(my $listener, '<&=', 0) or die "no listener: $!";
fcntl($listener, F_SETFL, O_RDWR | O_NONBLOCK) or die "fcntl: $!";
pipe(my $stop, my $stopping) or die "pipe: $!";
local $SIG{TERM} = sub { syswrite($stopping, "\n") };
my $term = POSIX::SigSet->new(POSIX::SIGTERM());
my $ready = IO::Select->new($listener, $stop);
my $request = FCGI::Request();
until (grep { $_ == $stop } $ready->can_read()) {
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $term);
    if ($request->Accept() >= 0) {
        print "Content-Type: text/plain\r\n\r\nhello from Perl\n";
        $request->Finish();
    }
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $term);
}
