// GloVe (Pennington, Socher and Manning 2014) written plainly, in double precision and in memory, to compare with: symmetric windows in which
// a distance of d counts 1/d, cells in random order, AdaGrad without locks, and the sum of word and context vectors. Steps, starting weights
// and sums of squares are those of the authors' program.
//
// usage: peer_glove WORDS.txt VECTORS.txt SEED SIZE WINDOW EPOCHS THREADS MIN_COUNT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct Cell {
    int word, context;
    double x;
};

struct Weights {
    std::vector<double> value, squares;
    Weights(size_t n, int size, std::mt19937_64 &random) : value(n), squares(n, 1.0) {
        std::uniform_real_distribution<double> uniform(-0.5, 0.5);
        for (double &v : value) v = uniform(random) / size;
    }
    void step(size_t at, double gradient) {
        value[at] -= gradient / std::sqrt(squares[at]);
        squares[at] += gradient * gradient;
    }
};

int main(int, char **argv) {
    const std::string words_path = argv[1], vectors_path = argv[2];
    const int seed = atoi(argv[3]), size = atoi(argv[4]), window = atoi(argv[5]), epochs = atoi(argv[6]), threads = atoi(argv[7]);
    const long min_count = atol(argv[8]);
    const double x_max = 100, alpha = 0.75, rate = 0.05;
    std::mt19937_64 random(seed);

    std::unordered_map<std::string, long> counts;
    std::string word, line;
    for (std::ifstream file(words_path); file >> word;) counts[word]++;
    std::vector<std::pair<long, std::string>> vocabulary;
    for (const auto &[name, count] : counts)
        if (count >= min_count) vocabulary.push_back({-count, name});
    std::sort(vocabulary.begin(), vocabulary.end());
    std::unordered_map<std::string, int> number;
    for (size_t n = 0; n < vocabulary.size(); n++) number[vocabulary[n].second] = n;

    std::unordered_map<uint64_t, double> table;
    std::vector<int> before;
    for (std::ifstream file(words_path); std::getline(file, line);) {
        before.clear();
        for (std::istringstream stream(line); stream >> word;) {
            const auto found = number.find(word);
            if (found == number.end()) continue;
            const uint64_t a = found->second;
            for (int d = 1; d <= window && d <= (int)before.size(); d++) {
                const uint64_t b = before[before.size() - d];
                table[a << 32 | b] += 1.0 / d;
                table[b << 32 | a] += 1.0 / d;
            }
            before.push_back(a);
        }
    }
    std::vector<Cell> cells;
    for (const auto &[key, x] : table) cells.push_back({(int)(key >> 32), (int)(key & 0xffffffff), x});
    std::sort(cells.begin(), cells.end(), [](const Cell &a, const Cell &b) { return std::pair(a.word, a.context) < std::pair(b.word, b.context); });
    std::shuffle(cells.begin(), cells.end(), random);

    const size_t n = vocabulary.size();
    Weights w(n * size, size, random), c(n * size, size, random), bw(n, size, random), bc(n, size, random);
    auto train = [&](size_t from, size_t to, double &loss) {
        for (size_t at = from; at < to; at++) {
            const Cell &cell = cells[at];
            const size_t i = (size_t)cell.word * size, j = (size_t)cell.context * size;
            double error = bw.value[cell.word] + bc.value[cell.context] - std::log(cell.x);
            for (int k = 0; k < size; k++) error += w.value[i + k] * c.value[j + k];
            const double weighted = std::min(1.0, std::pow(cell.x / x_max, alpha)) * error;
            loss += 0.5 * weighted * error;
            for (int k = 0; k < size; k++) {
                const double old = w.value[i + k];
                w.step(i + k, rate * weighted * c.value[j + k]);
                c.step(j + k, rate * weighted * old);
            }
            bw.step(cell.word, rate * weighted);
            bc.step(cell.context, rate * weighted);
        }
    };
    for (int epoch = 0; epoch < epochs; epoch++) {
        std::vector<double> losses(threads);
        std::vector<std::thread> running;
        for (int t = 0; t < threads; t++)
            running.emplace_back(train, cells.size() * t / threads, cells.size() * (t + 1) / threads, std::ref(losses[t]));
        double loss = 0;
        for (int t = 0; t < threads; t++) running[t].join(), loss += losses[t];
        if (epoch + 1 == epochs) fprintf(stderr, "%zu cells, loss %.6f\n", cells.size(), loss / cells.size());
    }
    FILE *out = fopen(vectors_path.c_str(), "w");
    fprintf(out, "%zu %d\n", n, size);
    for (size_t row = 0; row < n; row++) {
        fputs(vocabulary[row].second.c_str(), out);
        for (int k = 0; k < size; k++) fprintf(out, " %.6f", w.value[row * size + k] + c.value[row * size + k]);
        fputc('\n', out);
    }
    return fclose(out);
}
