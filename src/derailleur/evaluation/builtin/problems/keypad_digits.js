function keypad_digits(word){
    const keys = '22233344455566677778889999';
    return word.toLowerCase().replace(/[a-z]/g, (letter) => keys[letter.charCodeAt(0) - 97]);
}
