// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "shared_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::predictor;

namespace {

std::string message(std::string const& text, CurveFormat format, Unit unit = Unit::automatic)
{
  try {
    parse_curves(text, "F", format, unit);
  } catch (Error const& error) {
    return error.what();
  }
  return "no error";
}

void check_message(std::string const& text, CurveFormat format, std::vector<std::string> const& parts)
{
  auto const said = message(text, format);
  INFO(said);
  CHECK(said.find('\n') == std::string::npos);
  for (auto const& part : parts)
    CHECK(said.find(part) != std::string::npos);
}

std::string const penguin_text = "epochs trainLoss valLoss valAcc ID more\n"
                                 "0.5 4.25 3.89 9.68 name  {}\n"
                                 "1.0 3.74 3.58 14.91        \n";
std::string const a4nn_text = "epoch,train_accs,val_accs,predictions,converged\n"
                              "0,80,60,inf,False\n1,82,70,inf,False\n0,75,50,inf,False\n1,77,55,51.5,True\n";
std::string const metaqnn_text = "net,lr,acc_1,acc_2,acc_3\n\"[C(1,2), D]\",0.001,0.5,,0.7\nx,0.1,0.1,0.1,0.1\n";
std::string const csv_text = "id,epoch,value,learning_rate,train_loss,train_accuracy,note\n"
                             "a,1,10,0.1,2,12,x\nb,1,20,0.1,,,\na,2,15,0.05,1.5,20,\nb,2,,0.1,,,\nb,3,30,,,,\n";
std::string const jsonl_text = "{\"id\": \"a\", \"epoch\": 0.5, \"value\": 10.5}\n\n"
                               "{\"id\": 7, \"epoch\": 1, \"value\": 20, \"train_loss\": 0.5}\n"
                               "{\"id\": \"a\", \"epoch\": 1, \"value\": null}\n";

} // namespace

TEST_CASE("curves: every format is read")
{
  auto const csv = parse_curves(csv_text, "F", CurveFormat::csv);
  REQUIRE(csv.curves.size() == 2);
  CHECK(csv.curves[0].values == std::vector<double>{10, 15});
  CHECK(csv.curves[0].covariates[1].learning_rate == 0.05);
  CHECK(csv.curves[0].covariates[1].train_accuracy == 20);
  CHECK(csv.curves[1].epochs == std::vector<double>{1, 3}); // nothing was measured at 2
  CHECK(std::isnan(csv.curves[1].covariates[0].train_loss));
  CHECK(csv.spacing() == 1);
  CHECK(csv.last_epoch() == 3);

  auto const jsonl = parse_curves(jsonl_text, "F", CurveFormat::jsonl);
  REQUIRE(jsonl.curves.size() == 2);
  CHECK(jsonl.curves[0].failed);
  CHECK(jsonl.curves[0].points() == 1);
  CHECK(jsonl.curves[1].id == "7");
  CHECK(jsonl.curves[1].covariates[0].train_loss == 0.5);

  auto const a4nn = parse_curves(a4nn_text, "F", CurveFormat::a4nn);
  REQUIRE(a4nn.curves.size() == 2);
  CHECK(a4nn.curves[1].id == "1");
  CHECK(a4nn.curves[1].epochs == std::vector<double>{1, 2});
  CHECK(a4nn.curves[1].published_converged[1]);
  CHECK(a4nn.curves[1].published_predictions[1] == 51.5);
  CHECK(a4nn.curves[0].covariates[0].train_accuracy == 80);

  auto const penguin = parse_curves(penguin_text, "dir/net_1.txt.gz", CurveFormat::penguin);
  REQUIRE(penguin.curves.size() == 1);
  CHECK(penguin.curves[0].id == "net_1");
  CHECK(penguin.curves[0].values == std::vector<double>{9.68, 14.91});
  CHECK(penguin.curves[0].covariates[0].validation_loss == 3.89);
  CHECK(penguin.spacing() == 0.5);

  auto const metaqnn = parse_curves(metaqnn_text, "F", CurveFormat::metaqnn);
  REQUIRE(metaqnn.curves.size() == 2);
  CHECK(metaqnn.curves[0].values == std::vector<double>{50, 70});
  CHECK(metaqnn.curves[0].epochs == std::vector<double>{1, 3});
  CHECK(metaqnn.curves[0].covariates[0].learning_rate == 0.001);
}

TEST_CASE("curves: percent and fractions are told apart, or refused")
{
  auto const fractions =
      parse_curves("id,epoch,value,train_accuracy\na,1,0.1,0.2\na,2,0.9,0.95\n", "F", CurveFormat::csv);
  CHECK(fractions.fractions);
  CHECK(fractions.curves[0].values[1] == Catch::Approx(90));
  CHECK(fractions.curves[0].covariates[1].train_accuracy == Catch::Approx(95));
  // A network at chance on 100 classes beside one that learns: percent.
  auto const percent = parse_curves("id,epoch,value\na,1,0.98\na,2,1.0\nb,1,20\nb,2,40\n", "F", CurveFormat::csv);
  CHECK(!percent.fractions);
  check_message("id,epoch,value\na,1,0.1\na,2,0.9\nb,1,20\nb,2,40\n", CurveFormat::csv, {"curve \"a\"", "fractions"});
  CHECK(message("id,epoch,value\na,1,20\n", CurveFormat::csv, Unit::fraction).find("no fraction") != std::string::npos);
  CHECK(message("id,epoch,value\na,1,120\n", CurveFormat::csv).find("percent") != std::string::npos);
}

TEST_CASE("curves: what is wrong is named in one line")
{
  check_message("id,epoch\n", CurveFormat::csv, {"value"});
  check_message("id,epoch,value\na,1,x\n", CurveFormat::csv, {"F:2", "value", "x"});
  check_message("id,epoch,value\na,2,1\na,1,2\n", CurveFormat::csv, {"F:3", "epoch 1", "epoch 2", "a"});
  check_message("id,epoch,value\na,1,1\na,1,2\n", CurveFormat::csv, {"F:3", "does not follow"});
  check_message("id,epoch,value\n,1,1\n", CurveFormat::csv, {"F:2", "id is empty"});
  check_message("id,epoch,value\na,0,1\n", CurveFormat::csv, {"F:2", "epoch 0"});
  check_message("{\"id\": \"a\", \"epoch\": 1}\n", CurveFormat::jsonl, {"F:1", "value"});
  check_message("{\"id\": \"a\", \"epoch\": 1, \"value\": 3}\n{]\n", CurveFormat::jsonl, {"F:2"});
  check_message("epoch,train_accs,val_accs\n3,1,1\n", CurveFormat::a4nn, {"F:2", "epoch 3"});
  check_message("epoch,train_accs,val_accs\n0,1,1\n2,1,1\n", CurveFormat::a4nn, {"F:3", "epoch 2 follows epoch 0"});
  check_message("epoch,train_accs,val_accs,converged\n0,1,1,maybe\n", CurveFormat::a4nn, {"F:2", "converged", "maybe"});
  check_message("a b c d\n", CurveFormat::penguin, {"F:1", "header"});
  check_message("epochs trainLoss valLoss valAcc\n0.5 1 1\n", CurveFormat::penguin, {"F:2", "3 columns"});
  check_message("net,lr\nx,1\n", CurveFormat::metaqnn, {"acc_"});
  check_message("net,acc_1\nx,50\n", CurveFormat::metaqnn, {"F:2", "acc_1", "[0, 1]"});
  CHECK_THROWS_AS(curve_format("xml"), Error);
  CHECK_THROWS_AS(read_curves("/nonexistent", CurveFormat::csv), Error);
}

TEST_CASE("curves: damaged files are read or refused, never more")
{
  struct Sample
  {
    std::string text;
    CurveFormat format;
  };
  std::vector<Sample> const samples{{csv_text, CurveFormat::csv},
                                    {jsonl_text, CurveFormat::jsonl},
                                    {a4nn_text, CurveFormat::a4nn},
                                    {penguin_text, CurveFormat::penguin},
                                    {metaqnn_text, CurveFormat::metaqnn}};
  std::string const alphabet = "0123456789.,-+eE\"{}[]: \n\r\tinfnaNTrueFalse\xff";
  int refused = 0, accepted = 0;
  for (std::uint64_t seed = 0; seed < 1500; ++seed) {
    auto const& sample = samples[seed % samples.size()];
    std::string text = sample.text;
    auto const count = 1 + random_block(seed, Purpose::synthetic, 0, 0).word[0] % 4;
    for (std::uint32_t change = 1; change <= count; ++change) {
      auto const block = random_block(seed, Purpose::synthetic, change, 1);
      std::size_t const at = block.word[0] % text.size();
      switch (block.word[1] % 4) {
      case 0:
        text[at] = alphabet[block.word[2] % alphabet.size()];
        break;
      case 1:
        text.erase(at, 1 + block.word[2] % 5);
        break;
      case 2:
        text.insert(at, 1, alphabet[block.word[2] % alphabet.size()]);
        break;
      default:
        text.resize(at);
      }
      if (text.empty()) break;
    }
    try {
      auto const set = parse_curves(text, "F", sample.format);
      ++accepted;
      for (auto const& curve : set.curves) {
        CHECK(curve.epochs.size() == curve.values.size());
        CHECK(curve.covariates.size() == curve.values.size());
        for (std::size_t i = 0; i < curve.points(); ++i) {
          CHECK(std::isfinite(curve.values[i]));
          CHECK(curve.epochs[i] > (i > 0 ? curve.epochs[i - 1] : 0));
        }
      }
    } catch (Error const& error) {
      ++refused;
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
    }
  }
  CHECK(refused > 300);
  CHECK(accepted > 100);
}

TEST_CASE("curves: files together are one search, ids are unique")
{
  auto set = parse_curves("id,epoch,value\na,1,10\n", "F", CurveFormat::csv);
  append(set, parse_curves("id,epoch,value\nb,1,10\n", "G", CurveFormat::csv));
  CHECK(set.curves.size() == 2);
  CHECK_THROWS_AS(append(set, parse_curves("id,epoch,value\na,1,10\n", "H", CurveFormat::csv)), Error);
}
