#!/usr/bin/env perl
# states.pl FOLDER [FILE...]: writes to the folder, for each size in KB:
#
#   state.SIZE.json, state.SIZE.bytes  a state
#   changing.SIZE                      100 states of about that size, one a line
#   training.SIZE                      other states of the same kind, for a dictionary
#
# From files of real JSON, a document a line, a kind of states is the documents of a file. The first
# half of each file is to train on, the other to measure with. Without files, states are generated.
# What is random is so by a seed: every run of the benchmark and every contender gets the same
# states.
use strict;
use warnings;

use List::Util qw(min);

my ($folder, @files) = @ARGV;
my @sizes = (0.5, 0.8, 2, 2.4, 4, 4.5, 8, 16, 64, 1024);
my $most_changing = 64 * 1024;    # bytes: there are neither changing states nor a dictionary of larger ones

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

# A state, changing ones, and those to train on.
sub generated_states {
    my ($wanted) = @_;
    my $state = generated($wanted);
    return ($state, [], []) if $wanted > $most_changing;
    return ($state, [ map { generated($wanted * (0.8 + rand 0.4)) } 1 .. 100 ],
        [ map { generated($wanted * (0.8 + rand 0.4)) } 1 .. min(1000, 4e6 / $wanted) ]);
}

# ---- real -------------------------------------------------------------------------------

# The documents of the files that have enough of them to train on.
sub read_documents {
    my @read;
    for my $file (@_) {
        open my $in, '<:raw', $file or die "$file: $!\n";
        # jsonb has no place for the character 0.
        my @documents = grep { /\S/ && !/\\u0000/ } <$in>;
        s/\s+\z// for @documents;
        push @read, \@documents if @documents >= 80;
    }
    die "none of @_ has 80 documents\n" unless @read;
    return @read;
}

sub first_half { my $documents = shift; return @$documents[ 0 .. @$documents / 2 - 1 ] }
sub second_half { my $documents = shift; return @$documents[ @$documents / 2 .. $#$documents ] }
sub mean { return length(join '', @_) / @_ }
sub near { my ($wanted, @texts) = @_; return grep { abs(length($_) / $wanted - 1) <= 0.2 } @texts }

# How states of so many bytes are made, and of which documents: "all" of a file where they are as long in the
# mean, "near" where enough of its documents are, or else "joined" from those of which there is most.
sub kind_for {
    my ($wanted, @read) = @_;
    my @by_mean = sort { abs(mean(second_half($a)) - $wanted) <=> abs(mean(second_half($b)) - $wanted) } @read;
    return ('all', $by_mean[0]) if abs(mean(second_half($by_mean[0])) / $wanted - 1) <= 0.07;
    my ($near) = grep { near($wanted, second_half($_)) >= 10 } @by_mean;
    return ('near', $near) if $near;
    return ('joined', (sort { length(join '', @$b) <=> length(join '', @$a) } @read)[0]);
}

# From each document on, the run that has the length at least.
sub runs {
    my ($least, @documents) = @_;
    my @runs;
    for my $first (0 .. $#documents) {
        my ($last, $length) = ($first, 1 + length $documents[$first]);
        $length += 1 + length $documents[ ++$last ] while $length < $least && $last < $#documents;
        push @runs, [ @documents[ $first .. $last ] ] if $length >= $least;
    }
    return @runs;
}

sub joined { return @_ == 1 ? $_[0] : '[' . join(',', @_) . ']' }

# A state, changing ones, and those to train on.
sub real {
    my ($wanted, @read) = @_;
    my ($how, $documents) = kind_for($wanted, @read);
    my @measured = second_half($documents);
    my @whole = $how eq 'joined' ? map { joined(@$_) } runs($wanted, @measured) : @measured;
    my ($state) = sort { abs(length($a) - $wanted) <=> abs(length($b) - $wanted) || $a cmp $b } @whole;
    return ($state, [], []) if $wanted > $most_changing;

    my (@changing, @training);
    while (@changing < 100) {
        my @from = $how eq 'all' ? @whole : near($wanted,
            $how eq 'near' ? @whole : map { joined(@$_) } runs($wanted * (0.8 + rand 0.3), @measured));
        push @changing, $from[ rand @from ] if @from;
    }
    my @left = first_half($documents);
    return ($state, \@changing, \@left) unless $how eq 'joined';
    while (my ($run) = runs($wanted, @left)) {
        push @training, joined(@$run);
        splice @left, 0, @$run;
    }
    return ($state, \@changing, \@training);
}

# -----------------------------------------------------------------------------------------

sub spill {
    my ($file, @content) = @_;
    open my $out, '>:raw', "$folder/$file" or die "$folder/$file: $!\n";
    print {$out} @content;
    close $out or die "$folder/$file: $!\n";
    return;
}

my @read = @files ? read_documents(@files) : ();
for my $size (@sizes) {
    my $bytes = 1024 * $size;
    srand(1000 * $size);
    my ($state, $changing, $training) = @read ? real($bytes, @read) : generated_states($bytes);
    spill("state.$size.json", $state);
    spill("state.$size.bytes", pack 'C*', map { int rand 256 } 1 .. $bytes);
    spill("changing.$size", map { "$_\n" } @$changing);
    spill("training.$size", map { "$_\n" } @$training);
}
