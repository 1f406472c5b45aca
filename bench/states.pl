#!/usr/bin/env perl
# states.pl FOLDER [FILE...]: writes a state of each size, as JSON and as bytes, to the folder.
#
# From files of real JSON, a document a line, a state is the run of documents that comes near
# the size; without them it is generated. What is random is so by a seed: every run of the
# benchmark and every contender gets the same states.
use strict;
use warnings;

my ($folder, @files) = @ARGV;
my @sizes = (0.5, 2, 4, 4.5, 8, 16, 64, 1024);    # KB

sub pick { $_[ rand @_ ] }
sub digits { join '', map { int rand 10 } 1 .. shift }

# ---- generated: an order, with as many lines as it takes ---------------------------------

my @words = qw(amber anchor basket bench birch bolt brass bridge brush cable candle canvas carbon
    chain cherry clamp clock cobalt copper cotton crane cup desk door drill dust engine felt fence
    filter flask folding frame garden glass glove granite green handle heavy hinge hook iron jacket
    jar kettle lamp large leather light linen lock maple marble matte mirror nail narrow needle oak
    paint panel paper pencil pine pipe plain plate pocket pump rack red rope round rubber salt sand
    scale screw shelf silver slate small soap spring steel stone strap table tape thread tile tin
    tool tray valve velvet walnut wax wheel wide window wire wool zinc);
my @names = qw(Ada Bram Chidi Dora Emil Fatima Goran Hana Ivo Jana Kofi Lena Marta Nils Olga Paulo
    Rosa Sven Tomas Uma Vera Wim Yara Zoe);

sub words {
    join ' ', map { pick(@words) } 1 .. shift;
}

sub moment {
    sprintf '2024-%02d-%02dT%02d:%02d:%02d.%sZ', 1 + rand 12, 1 + rand 28, rand 24, rand 60,
        rand 60, digits(3);
}

sub order_head {
    sprintf '{"orderId":"%s-%s","status":"%s","placedAt":"%s","customer":{"id":%d,"name":"%s %s",'
        . '"street":"%s %d","postcode":"%s","newsletter":%s},"total":%.2f,"lines":[',
        digits(8), digits(4), pick(qw(open paid packed shipped)), moment(), rand 1e7, pick(@names),
        ucfirst pick(@words), ucfirst words(2), 1 + rand 200, digits(5), pick(qw(true false)), rand 2e3;
}

sub order_line {
    my $line = sprintf '{"sku":"%s","name":"%s","quantity":%d,"price":%.2f,"taxRate":%s', digits(10),
        words(2 + rand 2), 1 + rand 9, rand 200, pick('0.07', '0.19', '0');
    $line .= sprintf ',"reservedAt":"%s"', moment() if rand() < 0.4;
    $line .= sprintf ',"note":"%s"', words(3 + rand 9) if rand() < 0.3;
    return "$line}";
}

sub generated {
    my ($wanted) = @_;
    my ($json, $end, $line) = (order_head(), '],"note":"', '');
    while (length($json) + length($line) + length($end) + 2 <= $wanted) {
        $json .= $line;
        $line = ($line ? ',' : '') . order_line();
    }
    $json .= $end;
    $json .= pick(@words) . ' ' while length $json < $wanted;
    return substr($json, 0, $wanted - 2) . '"}';
}

# ---- real -------------------------------------------------------------------------------

my @documents;

# The documents of the files, those of the file with the largest ones first.
sub read_documents {
    my %of;
    for my $file (@_) {
        open my $in, '<:raw', $file or die "$file: $!\n";
        # jsonb has no place for the character 0.
        my @lines = grep { /\S/ && !/\\u0000/ } <$in>;
        s/\s+\z// for @lines;
        $of{$file} = \@lines;
    }
    my %median = map { $_ => (sort { $a <=> $b } map { length } @{ $of{$_} })[ @{ $of{$_} } / 2 ] // 0 } @_;
    @documents = map { @{ $of{$_} } } sort { $median{$b} <=> $median{$a} || $a cmp $b } @_;
    die "no JSON in @_\n" unless @documents;
    return;
}

# The first run of documents within 1 % of the size, or else the nearest: one document as it
# is, several as an array. 4.5 KB is always one.
sub real {
    my ($wanted) = @_;
    my ($best, $miss);
    for my $first (0 .. $#documents) {
        my $length = 1;
        for my $last ($first .. ($wanted == 4.5 * 1024 ? $first : $#documents)) {
            $length += 1 + length $documents[$last];
            my $size = $first == $last ? $length - 2 : $length;
            my $off = abs($size - $wanted) / $wanted;
            ($best, $miss) = ([ $first, $last ], $off) if !defined $miss || $off < $miss;
            last if $size >= $wanted;
        }
        last if $miss < 0.01;
    }
    my @run = @documents[ $best->[0] .. $best->[1] ];
    return @run == 1 ? $run[0] : '[' . join(',', @run) . ']';
}

# -----------------------------------------------------------------------------------------

sub spill {
    my ($file, $content) = @_;
    open my $out, '>:raw', "$folder/$file" or die "$folder/$file: $!\n";
    print {$out} $content;
    close $out or die "$folder/$file: $!\n";
    return;
}

read_documents(@files) if @files;
for my $size (@sizes) {
    srand(1000 * $size);
    spill("state.$size.json", @files ? real($size * 1024) : generated($size * 1024));
    spill("state.$size.bytes", pack 'C*', map { int rand 256 } 1 .. $size * 1024);
}
