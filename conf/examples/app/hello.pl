#!/usr/bin/perl
# A FastCGI program on the listener in descriptor 0. On SIGTERM it finishes the request in hand.
use strict;
use warnings;
use FCGI;

my $request = FCGI::Request();
local $SIG{TERM} = sub { $request->LastCall() };
while ($request->Accept() >= 0) {
    print "Content-Type: text/plain\r\n\r\nhello from Perl\n";
}
